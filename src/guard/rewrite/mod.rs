//! Puts the tenant's predicates into a parse tree and checks the printed result.
