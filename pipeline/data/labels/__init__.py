"""Labels: from the cells of the label column to numbers of classes."""
