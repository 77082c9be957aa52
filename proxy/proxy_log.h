/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_log: one line, one event, key=value; or JSON. To standard error. Any thread.
 */
#ifndef PROXY_LOG_H
#define PROXY_LOG_H

#include "config.h"

void log_configure(enum config_log_level level, enum config_log_format format);
bool log_enabled(enum config_log_level level);
/* `event` is a fixed word; `format` makes "key=value key=\"value with blanks\"" pairs. */
void log_write(enum config_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(...) log_write(CONFIG_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(CONFIG_LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_write(CONFIG_LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(CONFIG_LOG_DEBUG, __VA_ARGS__)

#endif
