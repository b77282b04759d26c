"""One file per distillation method; the file name is the method's name. Files with a leading '_' are no methods."""
