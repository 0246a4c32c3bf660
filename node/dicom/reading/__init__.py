"""Files as they are read: what is safe to read, headers, pixels, and decoding apart."""
