# isocline: the line that a person writes at a terminal, with history and completion (`tawny chat`).
# Why this one: it edits several lines and UTF-8 with tables of widths of its own, and asks neither a data base of
# terminals nor the locale. Debian has it as the C part of the Haskell package.
# Include as <isocline.h>. What is changed, each because a server's binary must not hang, grow or be left deaf:
#   - the locale stays as it is: texts are UTF-8
#   - of signals only that of a resized window is taken: the others end the program, as they do everywhere
#   - what was typed ahead is not thrown away
#   - the end of the terminal ends the line (it was asked again and again)
#   - Ctrl-C clears the line and gives an empty one; no line at all means the end (Ctrl-D)
#   - what can be undone is bounded (each state is a copy), and so is the line: ISOCLINE_MOST
#   - a bracketed paste comes in as one piece, with its lines (each was a key, each line an Enter), also in a search
#   - control characters of C1 are left out, since a terminal may obey them
version=1.0.9
source_package=haskell-isocline
source_file=haskell-isocline_1.0.9.orig.tar.gz
sha256=9090c69e8082cda45214e41e8205bce671a6c04b78ac412b7bacffadafe75468
licence=MIT
licence_files=LICENSE

# As edit, of so many lines.
edits() { # FILE EXPRESSION LINES
    local n
    edit "$1" "$2"
    n=$(diff "$1.before" "$1" | grep -c '^[<>]') || true # diff says that they differ
    [ "$n" = "$3" ] || { echo "$1: $n lines differ after the edit, where $3 should: $2"; return 1; }
}

build() {
    edit src/tty.c 's/setlocale\(LC_ALL,""\)/"C"/'
    edits src/tty.c '/\{ SIG(TERM|INT|QUIT|HUP|SEGV|TRAP|BUS|TSTP|TTIN|TTOU) *, \{0\} \},/d' 10
    edits src/tty.c '/^ic_private bool tty_start_raw/,/^static bool tty_init_raw/s/TCSAFLUSH/TCSADRAIN/' 4
    edit src/tty.c 's/^  return \(nread == 1\);/  if (nread == 0 || (nread < 0 \&\& errno != EINTR)) tty_code_pushback(tty, KEY_EVENT_STOP);\n&/'
    edit src/editline_history.c 's/\|\| c == KEY_CTRL_C\)/|| c == KEY_CTRL_C || c == KEY_EVENT_STOP || c == KEY_EVENT_PASTE)/'
    edits src/editline_history.c '/c == KEY_EVENT_STOP/,/c = 0;/s/c = 0;/if (c != KEY_EVENT_PASTE) &/' 2
    edit src/editline.c 's/^(    else if \()c == KEY_CTRL_C \|\| (c == KEY_EVENT_STOP\))/\1\2/'
    edit src/editline.c 's/c == KEY_BELL \/\* \^G \*\//c == KEY_BELL || c == KEY_CTRL_C/'
    edit src/editline.c 's/ \|\| c == KEY_CTRL_C \|\| c == KEY_EVENT_STOP\) \{/ || c == KEY_EVENT_STOP) {/'
    edit src/undo.c 's/^  \*es = entry;$/&\n  ssize_t held = 0;\n  for (editstate_t* e = *es; e != NULL; e = e->next)\n    if ((held += 64 + ic_strlen(e->input)) > 4*ISOCLINE_MOST) editstate_done(mem, \&e->next);/'
    edits src/editline.c '/^static void edit_insert_(unicode|char)\(/s/$/\n  if (sbuf_len(eb->input) >= ISOCLINE_MOST - 4) { term_beep(env->term); return; }/' 2
    edit src/editline.c '/^static void edit_insert_unicode\(/s/$/\n  if (u >= 0x80 \&\& u < 0xA0) return;/'
    edit src/tty.h 's/^#define KEY_EVENT_STOP .*/&\n#define KEY_EVENT_PASTE   (KEY_EVENT_BASE+4)/'
    edit src/tty_esc.c 's/^    case 8: return KEY_END; *$/&\n    case 200: return KEY_EVENT_PASTE;/'
    edit src/editline.c 's/^      case KEY_EVENT_AUTOTAB:$/      case KEY_EVENT_PASTE:\n        edit_paste(env,\&eb);\n        break;\n&/'
    edit src/editline.c 's/^static char\* edit_line\( ic_env_t\* env, const char\* prompt_text \)$/#include "editline_paste.c"\n\n&/'
    paste_source > src/editline_paste.c
    $CC $CFLAGS -std=c11 -D_GNU_SOURCE -DNDEBUG -DISOCLINE_MOST="(256*1024)" -Iinclude -c src/isocline.c -o isocline.o
    "$AR" rcs libisocline.a isocline.o
    install -D -m 644 -t "$PREFIX/include" include/isocline.h
    install -D -m 644 -t "$PREFIX/lib" libisocline.a
}

# All up to ESC [ 201 ~, however long that takes (Ctrl-C gives up), of which only what can be printed is taken: what is too
# long is left out, and said.
paste_source() {
    cat <<'C'
static void edit_paste_refused(ic_env_t* env, editor_t* eb) {
  edit_clear(env, eb);
  term_writeln(env->term, "(What was pasted is left out: a message typed here may have 256 KiB.)");
  eb->cur_rows = 1;
  eb->cur_row = 0;
  edit_refresh(env, eb);
}

static void edit_paste(ic_env_t* env, editor_t* eb) {
  static const char end[] = "\x1B[201~";
  stringbuf_t* text = sbuf_new(eb->mem);
  ssize_t matched = 0;
  bool too_long = false;
  uint8_t c, before = 0;
  if (text == NULL) return;
  while (matched < 6 && tty_readc_noblock(env->tty, &c, -1) && c != 0x03) {
    matched = (c == (uint8_t)end[matched] ? matched + 1 : c == 0x1B ? 1 : 0);
    if (c == '\r' || (c == '\n' && before != '\r')) sbuf_append_char(text, '\n');
    else if (c == '\t') sbuf_append(text, "    ");
    else if (before == 0xC2 && c >= 0x80 && c < 0xA0) sbuf_delete_at(text, sbuf_len(text) - 1, 1);
    else if (c >= ' ' && c != 0x7F && matched < 2) sbuf_append_char(text, (char)c);
    before = c;
    if (sbuf_len(text) > ISOCLINE_MOST) { too_long = true; sbuf_clear(text); }
  }
  if (too_long || sbuf_len(eb->input) + sbuf_len(text) > ISOCLINE_MOST) {
    edit_paste_refused(env, eb);
  }
  else if (sbuf_len(text) > 0) {
    editor_start_modify(eb);
    ssize_t at = sbuf_insert_at(eb->input, sbuf_string(text), eb->pos);
    if (at >= 0) eb->pos = at;
    edit_refresh(env, eb);
  }
  sbuf_free(text);
}

C
}
