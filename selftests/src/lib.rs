//! What only the built command line and a real guest can show; all of it is in `tests/`.

#![forbid(unsafe_code)]
