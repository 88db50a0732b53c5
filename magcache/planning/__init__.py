"""Which steps are computed and which are reused. Pure functions of sigmas, curves and settings: no tensors, no host, no clock."""
