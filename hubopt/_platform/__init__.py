"""What TensorFlow and the machine do behind hubopt's back: private APIs, errors, full disks."""
