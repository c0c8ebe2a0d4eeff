"""What MEME is: pure PyTorch and NumPy, no files, no emulator, no configuration objects."""
