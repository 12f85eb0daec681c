/* Log lines on standard output. */
#ifndef LOG_H
#define LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_ERROR };

extern enum log_level log_threshold;

/* The attribute lets the compiler check every caller's format. */
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

#endif
