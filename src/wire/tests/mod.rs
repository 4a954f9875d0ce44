mod backend;
mod frames;
mod frontend;
mod startup;
mod tls;
