//! sock_ops programs and their skeletons
