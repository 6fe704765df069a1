//! Runnable examples of the grid, on real data; each is an example target of this package.
