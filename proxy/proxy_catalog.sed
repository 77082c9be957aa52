# Makes a C string of proxy_catalog.sql, without its comments and indentation.
1i #pragma GCC diagnostic ignored "-Woverlength-strings"\nextern const char catalog_question[]; /* proxy_catalog.h */\nconst char catalog_question[] =
s/^ *//
/^--/d
s/ -- .*//
s/[\\"]/\\&/g
s/.*/    "&\\n"/
$a \    ;
