"""From any dataset to transitions: readers, frame store, labels, batches."""
