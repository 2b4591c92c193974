#!/bin/sh
# embed.sh DIR FILE... - prints the assembly that holds the page's files: page_table[] = {name, text, bytes, the same in
# gzip, its bytes, tag}, page_count (engine/api/page_files.c). DIR is where the compressed ones are put for the assembler.
set -eu
dir=$1; shift
mkdir -p "$dir"
echo '.section .data.rel.ro,"aw"
.global page_table, page_count
.balign 8
page_table:'
i=0
for file; do
    i=$((i + 1))
    echo ".quad name_$i, text_$i, end_$i - text_$i, zip_$i, zip_end_$i - zip_$i, tag_$i"
done
echo ".section .rodata
.balign 4
page_count: .long $i"
i=0
for file; do
    i=$((i + 1))
    gzip -9nc "$file" > "$dir/${file##*/}.gz"
    echo "text_$i: .incbin \"$file\"
end_$i: .byte 0
zip_$i: .incbin \"$dir/${file##*/}.gz\"
zip_end_$i: .byte 0
name_$i: .asciz \"${file##*/}\"
tag_$i: .asciz \"$(sha256sum < "$file" | cut -c1-16)\""
done
echo '.section .note.GNU-stack,"",@progbits'
