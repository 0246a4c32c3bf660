"""One random training batch for each stage: augmented inputs with their targets."""
