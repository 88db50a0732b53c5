"""The two small models that quality is measured on."""
