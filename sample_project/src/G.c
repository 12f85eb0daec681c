/* G: log lines. An object of PROGRAM, so PIE is enough. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum log_level log_threshold = LOG_INFO;

static const char *const level_names[] = {"debug", "info", "error"};

void log_line(enum log_level level, const char *format, ...)
{
    char text[160];
    va_list arguments;

    if (level < log_threshold)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* One message, one line: a line break in it would forge another message. */
    text[strcspn(text, "\r\n")] = '\0';
    printf("%-5s | %s\n", level_names[level], text);
}
