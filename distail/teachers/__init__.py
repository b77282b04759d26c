"""Networks trained on all the long-tailed images for methods that align images with them or label by them."""
