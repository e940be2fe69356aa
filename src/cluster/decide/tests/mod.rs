mod golden;
mod properties;
mod safety;
mod table;
