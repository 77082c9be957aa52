/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_tsan: what ThreadSanitizer has to be told where libck orders memory, as it does not see
 * libck's fences. Nothing otherwise.
 *
 * HAPPENS_BEFORE/AFTER declare an order on an address; between LOOK_AWAY and LOOK_AGAIN accesses of
 * this thread are not checked (a ring's own cells).
 */
#ifndef PROXY_TSAN_H
#define PROXY_TSAN_H

#if defined(__SANITIZE_THREAD__)
#define PROXY_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PROXY_TSAN 1
#endif
#endif

#ifdef PROXY_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#define HAPPENS_BEFORE(address) __tsan_release(address)
#define HAPPENS_AFTER(address) __tsan_acquire(address)
#define LOOK_AWAY() \
    (AnnotateIgnoreReadsBegin(__FILE__, __LINE__), AnnotateIgnoreWritesBegin(__FILE__, __LINE__))
#define LOOK_AGAIN() \
    (AnnotateIgnoreWritesEnd(__FILE__, __LINE__), AnnotateIgnoreReadsEnd(__FILE__, __LINE__))
#else
#define HAPPENS_BEFORE(address) ((void)(address))
#define HAPPENS_AFTER(address) ((void)(address))
#define LOOK_AWAY() ((void)0)
#define LOOK_AGAIN() ((void)0)
#endif

#endif
