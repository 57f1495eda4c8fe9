# SPDX-License-Identifier: Apache-2.0
# A 32-bit program without a libc, for compat_test.cpp: uses the sockets 3 (connected TCP)
# and 4 (connected UDP) that it inherits, through every 32-bit entry that is traced.
# Exit status: 0, or the number of the step that failed.

.macro step number
  movl $\number, step_
.endm

.macro invoke number
  movl $\number, %eax
  int $0x80
  cmpl $0, %eax
  jle failed
.endm

# socketcall(call, socketcall_args)
.macro socketcall call
  movl $\call, %ebx
  movl $socketcall_args, %ecx
  invoke 102
.endm

.globl _start
.text
_start:
  step 1                      # write(3, request, size)
  movl $3, %ebx
  movl $request, %ecx
  movl $request_size, %edx
  invoke 4

  step 2                      # writev(3, two parts)
  movl $3, %ebx
  movl $parts, %ecx
  movl $2, %edx
  invoke 146

  step 3                      # sendmsg(3, message)
  movl $3, %ebx
  movl $message, %ecx
  xorl %edx, %edx
  invoke 370

  step 4                      # sendto(3, request, size, 0, NULL, 0)
  movl $3, %ebx
  movl $request, %ecx
  movl $request_size, %edx
  xorl %esi, %esi
  xorl %edi, %edi
  xorl %ebp, %ebp
  invoke 369

  step 5                      # socketcall: send(3, request, size, 0)
  movl $3, socketcall_args
  movl $request, socketcall_args + 4
  movl $request_size, socketcall_args + 8
  movl $0, socketcall_args + 12
  socketcall 9

  step 6                      # socketcall: sendmsg(3, message, 0)
  movl $message, socketcall_args + 4
  movl $0, socketcall_args + 8
  socketcall 16

  step 7                      # sendmmsg(4, messages, 2, 0)
  movl $4, %ebx
  movl $messages, %ecx
  movl $2, %edx
  xorl %esi, %esi
  invoke 345

  step 8                      # read(3, room, 38), the response
  movl $3, %ebx
  movl $room, %ecx
  movl $38, %edx
  invoke 3

  step 9                      # readv(3, rooms, 2)
  movl $3, %ebx
  movl $rooms, %ecx
  movl $2, %edx
  invoke 145

  step 10                     # socketcall: recv(3, room, 38, 0)
  movl $3, socketcall_args
  movl $room, socketcall_args + 4
  movl $38, socketcall_args + 8
  movl $0, socketcall_args + 12
  socketcall 10

  step 11                     # recvmsg(3, message of rooms, 0)
  movl $3, %ebx
  movl $incoming, %ecx
  xorl %edx, %edx
  invoke 372

  movl $0, step_
failed:
  movl step_, %ebx
  movl $1, %eax
  int $0x80

.data
step_: .long 0
request: .ascii "GET /compat HTTP/1.1\r\nHost: old\r\n\r\n"
request_end:
.set request_size, request_end - request
query: .ascii "\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\3org\0\0\1\0\1"
query_end:
.set query_size, query_end - query

.balign 4
parts: .long request, 5, request + 5, request_size - 5
query_part: .long query, query_size
rooms: .long room, 8, room + 8, 30
# struct compat_msghdr: name, namelen, iov, iovlen, control, controllen, flags
message: .long 0, 0, parts, 2, 0, 0, 0
incoming: .long 0, 0, rooms, 2, 0, 0, 0
# struct compat_mmsghdr: the same, and its length
messages:
  .long 0, 0, query_part, 1, 0, 0, 0, 0
  .long 0, 0, query_part, 1, 0, 0, 0, 0
socketcall_args: .long 0, 0, 0, 0, 0, 0
.lcomm room, 256
