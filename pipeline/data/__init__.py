"""Tasks, their rows, tokenised examples, batches and metrics."""
