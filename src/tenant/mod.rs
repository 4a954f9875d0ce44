//! Tenants: names, registry, identification.
