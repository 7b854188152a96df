/* SPDX-License-Identifier: Apache-2.0
 * port — what macOS has under another name than Linux, or has not. Include it after the system's
 * headers. */
#pragma once

#if defined(__APPLE__)
#define st_mtim       st_mtimespec
#define fdatasync(fd) fsync(fd)
#define POLLRDHUP     0     /* POLLHUP says it */
enum { PORT_RSS_UNIT = 1 }; /* of ru_maxrss, in bytes */
#else
enum { PORT_RSS_UNIT = 1024 };
#endif
