//! Rewrites a COPY FROM STDIN stream: text, csv, binary, in constant memory.
