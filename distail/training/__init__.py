"""The one supervised training loop, used by experts, methods and students alike."""
