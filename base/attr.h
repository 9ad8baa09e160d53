/*
 * attr.h - the only compiler extensions the project uses.
 */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

/* The result says whether it worked; ignoring it is a defect. */
#define MUST_USE __attribute__((warn_unused_result))

/* printf-like: argument f is the format, a the first value (0 for va_list). */
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

/*
 * CLEANUP(thing) calls thing_auto(&variable) when the variable leaves
 * scope. Give it to every owned pointer, initialised to NULL, and hand
 * ownership over by assigning the output and setting the local to NULL.
 */
#define CLEANUP(thing) __attribute__((cleanup(thing##_auto)))

/* Define thing_auto() for a pointer type and its free function. */
#define DEFINE_CLEANUP(thing, type, free_fn)                                   \
	static inline void thing##_auto(type *p)                            \
	{                                                                      \
		if (*p != NULL)                                                \
			free_fn(*p);                                           \
	}                                                                      \
	struct thing##_auto_needs_a_semicolon

#endif
