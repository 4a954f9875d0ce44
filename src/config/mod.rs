//! The configuration: the TOML as written, the model as validated.
