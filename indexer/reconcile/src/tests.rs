mod cases;
mod disk;
mod memory;
mod model;
mod order;
mod replica;
