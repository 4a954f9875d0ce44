//! Who a client is, and how pgwarden proves itself to an upstream.
