//! Kernels: source, series, configuration, build, cache.
