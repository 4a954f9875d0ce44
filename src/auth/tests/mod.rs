mod clients;
mod upstream;
