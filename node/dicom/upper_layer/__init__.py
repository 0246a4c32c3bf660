"""Bytes and agreements of an association, whoever opened it (PS3.7, PS3.8 and PS3.15)."""
