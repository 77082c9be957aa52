/* SPDX-License-Identifier: PostgreSQL
 *
 * router_lexer: the main rules are re2c's, what lies between quotes is searched by hand.
 *
 * The text need not end with NUL: YYPEEK() gives a NUL at the end, which no rule but the one for an
 * embedded NUL takes, so a token always stops there. The rules have the names and the order that
 * the manual and flex give them: the longest match wins, then the first.
 */
#include "router_lexer.h"

#include <assert.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "router_hint.h"
#include "router_values.h"

/* What a literal is to the grammar: '1' may stand where 1 may not, so they hash apart. */
enum literal {
    LITERAL_NONE,
    LITERAL_INTEGER,
    LITERAL_FLOAT,
    LITERAL_STRING,
    LITERAL_UNICODE_STRING, /* may be followed by UESCAPE */
    LITERAL_NATIONAL_STRING,
    LITERAL_BITS,
    LITERAL_HEX,
    LITERAL_PARAMETER,
};

struct scanned {
    struct router_token token;
    enum literal literal;
};

static size_t skip_blanks(const char *text, size_t size, size_t pos, bool *newline)
{
    for (; pos < size; pos++) {
        const char c = text[pos];
        if (c == '\n' || c == '\r') {
            *newline = true;
        } else if (c == '-' && size - pos >= 2 && text[pos + 1] == '-') {
            while (pos + 1 < size && text[pos + 1] != '\n' && text[pos + 1] != '\r')
                pos++;
        } else if (c != ' ' && c != '\t' && c != '\f') {
            break;
        }
    }
    return pos;
}

/*
 * A string goes on when nothing but blanks, line comments and at least one newline lie between two
 * quotes. Returns the position behind the opening quote of the next part, or 0.
 */
static size_t continuation(const char *text, size_t size, size_t pos)
{
    bool newline = false;
    const size_t quote = skip_blanks(text, size, pos, &newline);
    return newline && quote < size && text[quote] == '\'' ? quote + 1 : 0;
}

/* \u and \U want exactly four and eight hexadecimal digits. */
static bool unicode_escape_ok(const char *text, size_t size, size_t pos)
{
    const size_t digits = text[pos] == 'u' ? 4 : text[pos] == 'U' ? 8 : 0;
    if (size - pos <= digits)
        return false;
    for (size_t i = 1; i <= digits; i++) {
        const char c = text[pos + i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            return false;
    }
    return true;
}

enum string_form {
    FORM_PLAIN,
    FORM_ESCAPES, /* E'...': a backslash may hide a quote */
    FORM_BITS,    /* B'...' and X'...': a doubled quote is two strings */
};

/* From pos to the next quote; a NUL before it, or none at all: false. */
static bool next_quote(const char *text, size_t size, char quote, size_t *pos)
{
    size_t at = *pos;
    while (at < size && text[at] != quote && text[at] != '\0')
        at++;
    *pos = at;
    return at < size && text[at] == quote;
}

/* The position of the quote that ends a string with escapes, or is doubled; false: none. */
static bool next_quote_escaped(const char *text, size_t size, size_t *pos)
{
    size_t at = *pos;
    for (; at < size && text[at] != '\0'; at++) {
        if (text[at] == '\'') {
            *pos = at;
            return true;
        }
        if (text[at] != '\\')
            continue;
        at++;
        if (at == size || !unicode_escape_ok(text, size, at) || text[at] == '\0')
            return false;
    }
    return false;
}

/* The position behind the closing quote of a string whose content begins at pos; 0: none. */
static size_t string_end(const char *text, size_t size, size_t pos, enum string_form form)
{
    while (pos < size && (form == FORM_ESCAPES ? next_quote_escaped(text, size, &pos)
                                               : next_quote(text, size, '\'', &pos))) {
        pos++;
        if (form != FORM_BITS && pos < size && text[pos] == '\'') {
            pos++;
            continue;
        }
        const size_t next = continuation(text, size, pos);
        if (next == 0)
            return pos;
        pos = next;
    }
    return 0;
}

/* The same for "..."; an empty name is an error as well. */
static size_t name_end(const char *text, size_t size, size_t pos)
{
    for (const size_t start = pos; pos < size && next_quote(text, size, '"', &pos); pos += 2)
        if (pos + 1 == size || text[pos + 1] != '"')
            return pos > start ? pos + 1 : 0;
    return 0;
}

static size_t comment_end(const char *text, size_t size, size_t pos)
{
    uint32_t depth = 1;
    while (pos + 1 < size && text[pos] != '\0') {
        const char c = text[pos++];
        if (c == '*' && text[pos] == '/') {
            pos++;
            if (--depth == 0)
                return pos;
        } else if (c == '/' && text[pos] == '*') {
            pos++;
            depth++;
        }
    }
    return 0;
}

/* $tag$ ... $tag$: the first occurrence of the same delimiter ends it. */
static size_t dollar_end(const char *text, size_t size, size_t start, size_t delimiter_size)
{
    const size_t pos = start + delimiter_size;
    const char *end = memmem(text + pos, size - pos, text + start, delimiter_size);
    if (end == NULL || memchr(text + pos, '\0', (size_t)(end - text) - pos) != NULL)
        return 0;
    return (size_t)(end - text) + delimiter_size;
}

enum { OPERATOR = 1, EXTENDED = 2 };

/* Characters of operators; the extended ones are in no operator of SQL. */
static const uint8_t operators[256] = {
    ['~'] = OPERATOR | EXTENDED, ['!'] = OPERATOR | EXTENDED, ['@'] = OPERATOR | EXTENDED,
    ['#'] = OPERATOR | EXTENDED, ['^'] = OPERATOR | EXTENDED, ['&'] = OPERATOR | EXTENDED,
    ['|'] = OPERATOR | EXTENDED, ['`'] = OPERATOR | EXTENDED, ['?'] = OPERATOR | EXTENDED,
    ['%'] = OPERATOR | EXTENDED, ['+'] = OPERATOR,            ['-'] = OPERATOR,
    ['*'] = OPERATOR,            ['/'] = OPERATOR,            ['<'] = OPERATOR,
    ['>'] = OPERATOR,            ['='] = OPERATOR,
};

bool router_lexer_is_operator(char c)
{
    return operators[(unsigned char)c] != 0;
}

/*
 * How much of a run of operator characters, which begins at `start`, is one operator: a comment's
 * start ends it; + and - cannot end a longer one, unless a character is in it that no operator of
 * SQL has. The signs that are cut off it are operators of one character each: to look at the run
 * again for each of them would take as many steps as its length squared. They end at *signs_end.
 */
static size_t operator_size(const char *text, size_t size, size_t start, size_t *signs_end)
{
    uint8_t kinds = 0;
    size_t end = start;
    size_t kept = start + 1; /* without the signs at its end */
    for (; end < size; end++) {
        const char c = text[end];
        const uint8_t kind = operators[(unsigned char)c];
        const char next = (char)(end + 1 < size ? text[end + 1] : '\0');
        if (kind == 0 || (c == '/' && next == '*') || (c == '-' && next == '-'))
            break;
        kinds |= kind;
        if (c != '+' && c != '-')
            kept = end + 1;
    }
    assert(end > start);
    if ((kinds & EXTENDED) != 0)
        return end - start;
    *signs_end = end;
    return kept - start;
}

/* Of digits alone, as PostgreSQL's scanner. */
static enum literal long_literal(const char *digits, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size && value <= INT32_MAX; i++)
        value = value * 10 + (uint64_t)(digits[i] - '0');
    return value > INT32_MAX ? LITERAL_FLOAT : LITERAL_INTEGER;
}

static inline enum literal number_literal(const char *digits, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (digits[i] < '0' || digits[i] > '9')
            return LITERAL_FLOAT;
    return size < 10 ? LITERAL_INTEGER : long_literal(digits, size); /* nine always fit */
}

static struct scanned make(enum router_token_kind kind, size_t start, size_t end,
                           enum literal literal)
{
    return (struct scanned){
        .token = {.kind = kind, .start = (uint32_t)start, .size = (uint32_t)(end - start)},
        .literal = literal};
}

/* A token whose end was searched: 0 means unterminated, which swallows the rest. */
static struct scanned searched(enum router_token_kind kind, struct router_lexer *lexer,
                               size_t start, size_t end, enum literal literal)
{
    if (end == 0) {
        lexer->pos = lexer->size;
        return make(ROUTER_TOKEN_ERROR, start, lexer->size, LITERAL_NONE);
    }
    lexer->pos = end;
    return make(kind, start, end, literal);
}

#define TOKEN(kind, literal)                                                                       \
    do {                                                                                           \
        lexer->pos = (size_t)(cursor - base);                                                      \
        return make(ROUTER_TOKEN_##kind, start, lexer->pos, LITERAL_##literal);                    \
    } while (0)
#define SEARCHED(kind, end, literal)                                                               \
    return searched(ROUTER_TOKEN_##kind, lexer, start, (end), LITERAL_##literal)

#define YYPEEK() (cursor < limit ? *cursor : 0)
#define YYSKIP() ++cursor
#define YYBACKUP() (marker = cursor)
#define YYRESTORE() (cursor = marker)

enum { IN_WORD = 1, BEGINS_WORD = 3, ALONE = 4 };

/* What most tokens are told by, without the scanner. Of ASCII; a string's prefix (E, B, X, N, U)
 * may begin something else. */
static const uint8_t characters[256] = {
    [','] = ALONE, ['('] = ALONE, [')'] = ALONE, ['['] = ALONE, [']'] = ALONE, [';'] = ALONE,
    ['a'] = BEGINS_WORD, ['b'] = IN_WORD, ['c'] = BEGINS_WORD, ['d'] = BEGINS_WORD, ['e'] = IN_WORD,
    ['f'] = BEGINS_WORD, ['g'] = BEGINS_WORD, ['h'] = BEGINS_WORD, ['i'] = BEGINS_WORD,
    ['j'] = BEGINS_WORD, ['k'] = BEGINS_WORD, ['l'] = BEGINS_WORD, ['m'] = BEGINS_WORD,
    ['n'] = IN_WORD, ['o'] = BEGINS_WORD, ['p'] = BEGINS_WORD, ['q'] = BEGINS_WORD,
    ['r'] = BEGINS_WORD, ['s'] = BEGINS_WORD, ['t'] = BEGINS_WORD, ['u'] = IN_WORD,
    ['v'] = BEGINS_WORD, ['w'] = BEGINS_WORD, ['x'] = IN_WORD, ['y'] = BEGINS_WORD,
    ['z'] = BEGINS_WORD, ['A'] = BEGINS_WORD, ['B'] = IN_WORD, ['C'] = BEGINS_WORD,
    ['D'] = BEGINS_WORD, ['E'] = IN_WORD, ['F'] = BEGINS_WORD, ['G'] = BEGINS_WORD,
    ['H'] = BEGINS_WORD, ['I'] = BEGINS_WORD, ['J'] = BEGINS_WORD, ['K'] = BEGINS_WORD,
    ['L'] = BEGINS_WORD, ['M'] = BEGINS_WORD, ['N'] = IN_WORD, ['O'] = BEGINS_WORD,
    ['P'] = BEGINS_WORD, ['Q'] = BEGINS_WORD, ['R'] = BEGINS_WORD, ['S'] = BEGINS_WORD,
    ['T'] = BEGINS_WORD, ['U'] = IN_WORD, ['V'] = BEGINS_WORD, ['W'] = BEGINS_WORD, ['X'] = IN_WORD,
    ['Y'] = BEGINS_WORD, ['Z'] = BEGINS_WORD, ['_'] = BEGINS_WORD, ['$'] = IN_WORD, ['0'] = IN_WORD,
    ['1'] = IN_WORD, ['2'] = IN_WORD, ['3'] = IN_WORD, ['4'] = IN_WORD, ['5'] = IN_WORD,
    ['6'] = IN_WORD, ['7'] = IN_WORD, ['8'] = IN_WORD, ['9'] = IN_WORD,
};

/* Inlined into its two callers, which saves about a fifth of the warm path's instructions. */
__attribute__((always_inline)) static inline struct scanned
scan_token(struct router_lexer *lexer)
{
    const unsigned char *const base = (const unsigned char *)lexer->text;
    const char *const text = lexer->text;
    const unsigned char *const limit = base + lexer->size;
    const unsigned char *cursor = base + lexer->pos;
    const unsigned char *marker = cursor;
    const size_t size = lexer->size;
    size_t start;

next:
    start = (size_t)(cursor - base);
    if (cursor == limit) {
        lexer->pos = size;
        return make(ROUTER_TOKEN_END, size, size, LITERAL_NONE);
    }
    const uint8_t kind = characters[*cursor];
    if (kind == BEGINS_WORD) { /* no other rule begins with it */
        do
            cursor++;
        while (cursor != limit && (characters[*cursor] & IN_WORD) != 0);
        if (cursor == limit || *cursor < 0x80)
            TOKEN(WORD, NONE);
        cursor = base + start;
    } else if (kind == ALONE) {
        cursor++;
        TOKEN(SELF, NONE);
    }
    /*!re2c
        re2c:api = custom;
        re2c:api:style = functions;
        re2c:define:YYCTYPE = "unsigned char";
        re2c:yyfill:enable = 0;
        re2c:flags:bit-vectors = 1;

        blank = [ \t\n\r\f]+;
        digit = [0-9];
        ident_start = [A-Za-z_\x80-\xff];
        ident_cont = [A-Za-z_0-9$\x80-\xff];
        op_chars = [~!@#^&|`?+\-*/%<>=];
        integer = digit+;
        decimal = digit* "." digit+ | digit+ ".";
        exponent = [eE] [-+]? digit+;
        real = (integer | decimal) exponent;
        junk = (integer | decimal | real) ident_start | (integer | decimal) [eE] [-+]
             | "$" integer ident_start;
        dollar_quote = "$" (ident_start [A-Za-z_0-9\x80-\xff]*)? "$";

        blank { goto next; }
        "--" [^\n\r\x00]* { TOKEN(COMMENT, NONE); }
        "/" "*" { SEARCHED(COMMENT, comment_end(text, size, start + 2), NONE); }

        "'" { SEARCHED(STRING, string_end(text, size, start + 1, FORM_PLAIN), STRING); }
        [eE] "'" { SEARCHED(STRING, string_end(text, size, start + 2, FORM_ESCAPES), STRING); }
        [bB] "'" { SEARCHED(STRING, string_end(text, size, start + 2, FORM_BITS), BITS); }
        [xX] "'" { SEARCHED(STRING, string_end(text, size, start + 2, FORM_BITS), HEX); }
        [nN] "'" {
            SEARCHED(STRING, string_end(text, size, start + 2, FORM_PLAIN), NATIONAL_STRING);
        }
        [uU] "&'" {
            SEARCHED(STRING, string_end(text, size, start + 3, FORM_PLAIN), UNICODE_STRING);
        }
        [uU] "&\"" { SEARCHED(QUOTED_NAME, name_end(text, size, start + 3), NONE); }
        "\"" { SEARCHED(QUOTED_NAME, name_end(text, size, start + 1), NONE); }
        dollar_quote {
            const size_t delimiter_size = (size_t)(cursor - base) - start;
            SEARCHED(STRING, dollar_end(text, size, start, delimiter_size), STRING);
        }

        ident_start ident_cont* { TOKEN(WORD, NONE); }

        "$" integer { TOKEN(PARAMETER, PARAMETER); }
        integer | decimal | real {
            lexer->pos = (size_t)(cursor - base);
            return make(ROUTER_TOKEN_NUMBER, start, lexer->pos,
                        number_literal(text + start, lexer->pos - start));
        }
        integer ".." {
            lexer->pos = (size_t)(cursor - base) - 2;
            return make(ROUTER_TOKEN_NUMBER, start, lexer->pos,
                        number_literal(text + start, lexer->pos - start));
        }
        junk { TOKEN(ERROR, NONE); }

        op_chars {
            size_t run = 1; /* most are one character */
            if (start + 1 < size && operators[(unsigned char)text[start + 1]] != 0 &&
                start >= lexer->signs_end) {
                size_t signs_end = lexer->signs_end; /* the lexer itself stays in registers */
                run = operator_size(text, size, start, &signs_end);
                lexer->signs_end = signs_end;
            }
            lexer->pos = start + run;
            return make(ROUTER_TOKEN_OPERATOR, start, lexer->pos, LITERAL_NONE);
        }
        [,()[\].;:$] | "::" | ":=" | ".." { TOKEN(SELF, NONE); }
        * { TOKEN(ERROR, NONE); }
    */
}

struct router_token router_lexer_next(struct router_lexer *lexer)
{
    assert(lexer->pos <= lexer->size && lexer->size <= UINT32_MAX);
    return scan_token(lexer).token;
}

/*
 * The encoding of the tokens, which is what gets hashed. Each token begins with a byte below 0x20
 * that no word and no operator contains; quoted names, which may contain anything, carry their
 * size. So two texts have the same encoding only if they have the same tokens, but for literals.
 */
enum mark { MARK_WORD = 1, MARK_NAME, MARK_OPERATOR, MARK_VALUES, MARK_LITERAL = 16 };

enum { BUFFER_SIZE = 1024 };

struct encoder {
    uint8_t buffer[BUFFER_SIZE];
    size_t used;
    bool streaming;
    const uint8_t *key;
    XXH3_state_t state; /* set up only for texts whose encoding exceeds the buffer */
};

static void encoder_flush(struct encoder *e)
{
    if (!e->streaming) {
        XXH3_INITSTATE(&e->state);
        XXH3_128bits_reset_withSecret(&e->state, e->key, ROUTER_KEY_SIZE);
        e->streaming = true;
    }
    XXH3_128bits_update(&e->state, e->buffer, e->used);
    e->used = 0;
}

static struct router_hash encoder_finish(struct encoder *e)
{
    XXH128_hash_t h;
    if (e->streaming) {
        encoder_flush(e);
        h = XXH3_128bits_digest(&e->state);
    } else {
        h = XXH3_128bits_withSecret(e->buffer, e->used, e->key, ROUTER_KEY_SIZE);
    }
    return (struct router_hash){.low = h.low64, .high = h.high64};
}

static inline void encode_byte(struct encoder *e, uint8_t byte)
{
    if (e->used == BUFFER_SIZE)
        encoder_flush(e);
    e->buffer[e->used++] = byte;
}

static void encode_bytes(struct encoder *e, const char *bytes, size_t size)
{
    while (size > 0) {
        if (e->used == BUFFER_SIZE)
            encoder_flush(e);
        const size_t room = BUFFER_SIZE - e->used;
        const size_t n = size < room ? size : room;
        memcpy(e->buffer + e->used, bytes, n);
        e->used += n;
        bytes += n;
        size -= n;
    }
}

/* Eight ASCII letters at once to lower case; other bytes as they are. */
static inline uint64_t fold(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t low7 = x & (0x7f * ones);
    const uint64_t above_z = low7 + (0x7f - 'Z') * ones;
    const uint64_t from_a = low7 + (0x80 - 'A') * ones;
    const uint64_t upper = (from_a & ~above_z & ~x) & (0x80 * ones);
    return x | (upper >> 2);
}

/* The first `size` (at most 8) bytes of a word; `readable` bytes may be read. */
static inline uint64_t load_word(const char *word, size_t size, size_t readable)
{
    uint64_t x = 0;
    if (readable >= 8)
        memcpy(&x, word, 8);
    else
        memcpy(&x, word, size);
    return size < 8 ? x & ((UINT64_C(1) << (8 * size)) - 1) : x;
}

static inline void encode_word(struct encoder *e, const char *word, size_t size, size_t readable)
{
    if (BUFFER_SIZE - e->used < 16) /* its mark and its first eight letters stay together */
        encoder_flush(e);
    e->buffer[e->used++] = MARK_WORD;
    while (size > 0) {
        if (BUFFER_SIZE - e->used < 8)
            encoder_flush(e);
        const size_t n = size < 8 ? size : 8;
        const uint64_t x = fold(load_word(word, n, readable));
        memcpy(e->buffer + e->used, &x, 8);
        e->used += n;
        word += n;
        size -= n;
        readable -= n;
    }
}

static bool word_is(const char *word, size_t size, const char *lower)
{
    for (size_t i = 0; i < size; i++) {
        if ((word[i] | 0x20) != lower[i] && word[i] != lower[i])
            return false;
    }
    return lower[size] == '\0';
}

/* Words whose literals say what the statement is; the first six only where a statement begins. */
static bool is_word_of_literals(const char *word, size_t size, bool first)
{
    switch (size) {
    case 3:
        return first && word_is(word, size, "set");
    case 4:
        return first && word_is(word, size, "show");
    case 5:
        return first && word_is(word, size, "reset");
    case 7:
        return (first && (word_is(word, size, "explain") || word_is(word, size, "prepare"))) ||
               word_is(word, size, "uescape"); /* its string changes what a name is */
    case 10:
        return (first && word_is(word, size, "deallocate")) || word_is(word, size, "set_config");
    case 15:
        return word_is(word, size, "current_setting");
    default:
        return false;
    }
}

/* Most words have not even the length of such a one. */
static inline bool word_makes_literals_matter(const char *word, size_t size, bool first)
{
    enum { ANYWHERE = 1 << 7 | 1 << 10 | 1 << 15, FIRST = 1 << 3 | 1 << 4 | 1 << 5 | ANYWHERE };
    return size < 16 && ((first ? FIRST : ANYWHERE) >> size & 1) != 0 &&
           is_word_of_literals(word, size, first);
}

static inline void encode_token(struct encoder *e, const struct scanned *s,
                                const struct router_lexer *lexer)
{
    const char *const base = lexer->text + s->token.start;
    const size_t size = s->token.size;
    switch (s->token.kind) {
    case ROUTER_TOKEN_WORD:
        encode_word(e, base, size, lexer->size - s->token.start);
        break;
    case ROUTER_TOKEN_QUOTED_NAME:
        encode_byte(e, MARK_NAME);
        encode_bytes(e, (const char *)&s->token.size, sizeof(s->token.size));
        encode_bytes(e, base, size);
        break;
    case ROUTER_TOKEN_OPERATOR:
    case ROUTER_TOKEN_SELF:
        encode_byte(e, MARK_OPERATOR);
        if (size == 1)
            encode_byte(e, (uint8_t)base[0]);
        else
            encode_bytes(e, base, size);
        break;
    case ROUTER_TOKEN_STRING:
    case ROUTER_TOKEN_NUMBER:
    case ROUTER_TOKEN_PARAMETER:
        encode_byte(e, (uint8_t)(MARK_LITERAL + s->literal));
        break;
    case ROUTER_TOKEN_END:
    case ROUTER_TOKEN_COMMENT:
    case ROUTER_TOKEN_ERROR:
        break;
    }
}

/* Which tokens count: of a list of literals of one kind only the first does. */
struct lists {
    enum literal last; /* the token before, if it is a literal */
    bool comma;        /* a comma behind `last` that has not counted yet */
};

enum counted {
    COUNTED,
    COUNTED_WITH_COMMA, /* ... and the comma before it, which was held back */
    COUNTED_NOT,
};

static inline enum counted lists_count(struct lists *l, const struct scanned *s, char first_char)
{
    bool held = false;
    if (l->comma) {
        l->comma = false;
        if (s->literal == l->last)
            return COUNTED_NOT; /* one more of the same list */
        held = true;
        l->last = LITERAL_NONE;
    }
    l->comma = l->last != LITERAL_NONE && s->token.kind == ROUTER_TOKEN_SELF && first_char == ',';
    if (l->comma)
        return COUNTED_NOT;
    l->last = s->literal;
    return held ? COUNTED_WITH_COMMA : COUNTED;
}

static bool is_values(const char *word, size_t size)
{
    return size == 6 && word_is(word, size, "values");
}

/* Is VALUES the last that was encoded? (Or a quoted name that ends in just that, with its mark.) */
static inline bool is_behind_values(const struct encoder *e)
{
    static const char word[] = {MARK_WORD, 'v', 'a', 'l', 'u', 'e', 's'};
    return e->used >= sizeof(word) &&
           memcmp(e->buffer + e->used - sizeof(word), word, sizeof(word)) == 0;
}

struct taken {
    size_t pos; /* behind them */
    uint32_t tokens;
};

/* Rows that are literals alone, from the parenthesis at `pos` on, are one, with the types they are
 * cast to, each once. A function of its own, for the lexer to stay in registers. */
__attribute__((noinline, cold)) static struct taken
take_rows(const char *text, size_t size, size_t pos, struct encoder *e)
{
    struct router_lexer lexer = {.text = text, .size = size, .pos = pos};
    struct router_values rows = {0};
    uint32_t tokens = 0;
    while (tokens < ROUTER_VALUES_TOKENS_MAX && router_values_next(&lexer, &rows)) {
        tokens += rows.tokens;
        if (rows.rows == 1)
            encode_byte(e, MARK_VALUES);
        for (uint32_t i = rows.casts_count - rows.casts_new; i < rows.casts_count; i++) {
            const struct router_token *const type = &rows.casts[i];
            encode_byte(e, MARK_VALUES);
            encode_word(e, lexer.text + type->start, type->size, lexer.size - type->start);
        }
    }
    return (struct taken){.pos = lexer.pos, .tokens = tokens};
}

void router_lexer_scan(const char *text, size_t size, const uint8_t key[ROUTER_KEY_SIZE],
                       struct router_scan *ret)
{
    assert(size <= UINT32_MAX);
    struct router_lexer lexer = router_lexer_make(text, size);
    struct encoder e;
    e.used = 0;
    e.streaming = false;
    e.key = key;
    struct router_scan scan = {.whole = true};
    struct lists lists = {.last = LITERAL_NONE};
    bool first = true; /* a statement begins here */
    int64_t limit = ROUTER_SCAN_TOKENS_MAX + 1; /* one more for each that does not count */

    for (;;) {
        const struct scanned s = scan_token(&lexer);
        if (s.token.kind == ROUTER_TOKEN_WORD && !lists.comma && scan.tokens < limit) {
            scan.tokens++; /* the short way of most */
            lists.last = LITERAL_NONE;
            const char *const word = text + s.token.start;
            scan.literal_matters |= word_makes_literals_matter(word, s.token.size, first);
            first = false;
            encode_word(&e, word, s.token.size, size - s.token.start);
            continue;
        }
        if (s.token.kind == ROUTER_TOKEN_COMMENT) {
            struct router_hint hint = {0};
            scan.has_hint |= router_hint_read(text + s.token.start, s.token.size, &hint);
            limit--;
            continue;
        }
        if (s.token.kind == ROUTER_TOKEN_END)
            break;
        scan.tokens++;
        if (s.token.kind == ROUTER_TOKEN_ERROR || scan.tokens > limit) {
            scan.whole = false;
            break;
        }
        const char c = text[s.token.start];
        const enum counted how = lists_count(&lists, &s, c);
        if (how == COUNTED_NOT) {
            limit += limit < ROUTER_SCAN_LISTS_MAX;
            continue;
        }
        if (__builtin_expect(c == '(' && is_behind_values(&e), 0)) {
            const struct taken rows = take_rows(text, size, s.token.start, &e);
            if (rows.tokens > 0) {
                lexer.pos = rows.pos;
                scan.tokens += rows.tokens - 1;
                limit += rows.tokens;
                limit = limit < ROUTER_SCAN_LISTS_MAX ? limit : ROUTER_SCAN_LISTS_MAX;
                continue;
            }
        }
        if (how == COUNTED_WITH_COMMA)
            encode_bytes(&e, (const char[]){MARK_OPERATOR, ','}, 2);
        if (s.token.kind == ROUTER_TOKEN_WORD)
            scan.literal_matters |=
                word_makes_literals_matter(text + s.token.start, s.token.size, first);
        first = s.token.kind == ROUTER_TOKEN_SELF && c == ';';
        encode_token(&e, &s, &lexer);
    }
    if (lists.comma)
        encode_bytes(&e, (const char[]){MARK_OPERATOR, ','}, 2);
    scan.hash = encoder_finish(&e);
    *ret = scan;
}

struct cut {
    size_t used;     /* of the copy */
    size_t copied;   /* of the text, up to there */
    uint32_t count;  /* tokens that are left, and comments */
    uint32_t tokens; /* of all */
    size_t pos;      /* where cut_rows() ended */
};

/* Behind VALUES: of rows that are literals alone those that tell nothing new are left out. */
__attribute__((noinline)) static struct cut cut_rows(struct router_lexer lexer, char *ret,
                                                     struct cut cut)
{
    struct router_values rows = {0};
    const uint32_t before = cut.tokens;
    while (cut.tokens - before < ROUTER_VALUES_TOKENS_MAX && router_values_next(&lexer, &rows)) {
        cut.tokens += rows.tokens;
        if (rows.rows == 1 || rows.casts_new > 0) {
            memcpy(ret + cut.used, lexer.text + cut.copied, lexer.pos - cut.copied);
            cut.used += lexer.pos - cut.copied;
            cut.count += rows.tokens;
        }
        cut.copied = lexer.pos;
    }
    cut.pos = lexer.pos;
    return cut;
}

size_t router_lexer_cut_lists(const char *text, size_t size, char *ret)
{
    struct router_lexer lexer = router_lexer_make(text, size);
    struct lists lists = {.last = LITERAL_NONE};
    uint32_t count = 0;
    uint32_t tokens = 0;
    size_t used = 0;
    size_t copied = 0; /* of the text, up to there */
    bool first = true;
    for (;;) {
        const struct scanned s = scan_token(&lexer);
        const char *const token = text + s.token.start;
        struct router_hint hint = {0};
        if (s.token.kind == ROUTER_TOKEN_END)
            break;
        if (s.token.kind == ROUTER_TOKEN_ERROR || count > ROUTER_SCAN_TOKENS_MAX ||
            ++tokens > ROUTER_SCAN_LISTS_MAX ||
            (s.token.kind == ROUTER_TOKEN_WORD &&
             word_makes_literals_matter(token, s.token.size, first)) ||
            (s.token.kind == ROUTER_TOKEN_COMMENT && router_hint_read(token, s.token.size, &hint)))
            return 0;
        if (s.token.kind == ROUTER_TOKEN_COMMENT) {
            count++;
            continue;
        }
        first = s.token.kind == ROUTER_TOKEN_SELF && token[0] == ';';
        const enum counted how = lists_count(&lists, &s, token[0]);
        if (how == COUNTED_NOT && lists.comma)
            continue; /* what comes next tells */
        const size_t end = s.token.start + s.token.size;
        if (how == COUNTED_NOT) {
            copied = end;
            continue;
        }
        memcpy(ret + used, text + copied, end - copied);
        used += end - copied;
        copied = end;
        count++;
        if (s.token.kind == ROUTER_TOKEN_WORD && is_values(token, s.token.size)) {
            const struct cut cut = cut_rows(
                lexer, ret,
                (struct cut){.used = used, .copied = copied, .count = count, .tokens = tokens});
            lexer.pos = cut.pos;
            used = cut.used;
            copied = cut.copied;
            count = cut.count;
            tokens = cut.tokens;
        }
    }
    memcpy(ret + used, text + copied, size - copied);
    return used + size - copied;
}
