"""Any picture to MNIST-style 28×28; knows no model."""
