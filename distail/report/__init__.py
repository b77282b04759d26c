"""What people look at: pictures and terminal tables."""
