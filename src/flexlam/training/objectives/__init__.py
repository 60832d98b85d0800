"""What stage 1 can be asked to predict, and the remedies for codes that tell of the background."""
