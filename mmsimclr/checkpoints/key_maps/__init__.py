"""Names of an encoder's tensors in other libraries, and torchvision's."""
