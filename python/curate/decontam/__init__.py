"""What decontamination is made of: benchmark items and where they come from, and the rules there are."""
