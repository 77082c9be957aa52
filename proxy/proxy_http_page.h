/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_http_page: the status page, whole: no other file, nothing from elsewhere.
 */
#ifndef PROXY_HTTP_PAGE_H
#define PROXY_HTTP_PAGE_H

extern const char http_page[];

#endif
