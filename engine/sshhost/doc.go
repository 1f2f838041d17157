// Package sshhost implements engine.Host, over one SSH connection or on the node
// itself, and is the only place that writes shell text or quotes an argument.
//
// # How a command ends
//
// OpenSSH does not end a program when its channel closes: without a terminal
// nothing gets a signal, and not every version takes signal requests. So every
// command runs in a frame, a POSIX shell pipeline:
//
//	{ watch } | { program; status }
//	{ watch } | feed | { program; status }     (with standard input)
//
// The watch alone reads the channel. It passes on chunks of input, each preceded by
// its length, and waits for the line "ok", with which the client confirms that it
// has seen the end of the program. If the channel ends without it, because the
// context was cancelled, tg was killed or the connection broke, the watch sends
// SIGTERM to the process group, which sshd made for this command alone, and where
// there is input a second time for a program that was just being started. SIGTERM is
// what pct(1) cleans up after. Over SSH nothing is killed harder than that; Local
// kills the process group of a cancelled program that goes on for 10 s.
//
// A program that ignores SIGTERM, or left the process group (systemd-run, a
// daemon), goes on. If the network is cut without a word, the node notices when
// sshd does (ClientAliveInterval, or TCP keep-alive); the client notices by itself,
// see Options.KeepAlive.
//
// # How input ends
//
// No program takes input that was cut off for complete, not even one that goes on.
// It sees the end of its input only when feed closes the pipe, and feed does that
// only when the client has said that the input is complete. Whatever else ends feed,
// tail(1) takes its place, which writes nothing and stays until nobody can read
// from the pipe any more. Both have a session of their own, so that no signal for
// the program reaches them. A program that ignores SIGTERM and reads on waits.
//
// # How output is told apart
//
// Both streams carry a mark before and after what the program wrote: 128 random
// bits, new for each command, that never stand in one piece in a command line, so
// that not even the output of ps can hold them. What a login script prints is thereby
// ignored, a daemon that keeps the streams open does not hang the caller, and
// files whose size is not what stat says (sysfs, proc) arrive whole.
//
// # What the node must have
//
// The login shell of the remote user must be a POSIX shell: bash, dash, zsh. The
// programs are those of every Debian: coreutils 8.28 or later and util-linux. The
// user should be root, as pct demands: a file in a directory that the user may not
// search counts as missing.
package sshhost
