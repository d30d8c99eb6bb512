//! findings as files: JSON, Markdown, summary
