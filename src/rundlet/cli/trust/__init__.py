"""Content trust on the user's side: the trust server over HTTPS, keys, passphrases. Loaded when trust is asked for."""
