//! What a statement is and may name: kinds, relations, functions, operators, settings. Default deny.
