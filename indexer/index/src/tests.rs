mod codec;
mod commits;
mod crash;
mod format;
mod journal;
mod make;
mod opening;
mod seed;
