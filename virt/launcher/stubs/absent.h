/* Functions of libraries that stand in for larger ones: each does nothing and says so. */

/* Of those that return a pointer, or nothing. */
#define NULLS(name) void *name(void) { return 0; }

/* Of those that return 0 when all is well. */
#define FAILS(name) int name(void) { return -1; }
