# Boot code of a disk's first sector: moves out of the way, finds the active partition and starts what is in its first
# sector, which gets the drive in %dl and the partition's table entry at %ds:%si. Needs a BIOS that reads by sector number.
    .code16
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    sti
    cld
    movw $0x7c00, %si               # where the BIOS put this code; it is linked to run at 0x600
    movw $0x600, %di
    movw $256, %cx
    rep movsw
    ljmp $0, $find
find:
    movw $0x7be, %si                # 0x600 + 446: the partition table
    movw $4, %cx
next:
    testb $0x80, (%si)
    jnz found
    addw $16, %si
    loop next
    jmp fail
found:
    movl 8(%si), %eax               # its first sector
    movl %eax, sector
    pushw %si
    movw $packet, %si
    movb $0x42, %ah                 # extended read
    int $0x13
    popw %si
    jc fail
    cmpw $0xaa55, 0x7dfe
    jne fail
    ljmp $0, $0x7c00
fail:
    movw $message, %si
print:
    lodsb
    testb %al, %al
    jz stop
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    jmp print
stop:
    hlt
    jmp stop

message:
    .asciz "no bootable partition"
    .balign 4
packet:
    .byte 16, 0
    .word 1                         # one sector
    .word 0x7c00, 0                 # to 0000:7c00
sector:
    .long 0, 0
