package lab

// corePrograms are the programs of Debian that the model has: no more than
// tengil, its scripts and those who look around use.
func corePrograms() map[string]program {
	return map[string]program{
		"sh": shProgram, "dash": shProgram, "bash": shProgram,
		"umask": umaskProgram, "kill": killProgram,
		"echo": builtinProgram, "printf": builtinProgram, "test": builtinProgram, "[": builtinProgram, "pwd": builtinProgram,
		"true": func(*proc) int { return 0 }, "false": func(*proc) int { return 1 },

		"cat": catProgram, "head": headProgram, "tail": headProgram, "wc": wcProgram,
		"sha256sum": sha256Program, "base64": base64Program, "tee": teeProgram, "dd": ddProgram,
		"grep": grepProgram, "sort": sortProgram, "seq": seqProgram, "awk": awkProgram, "ps": psProgram, "sed": sedProgram, "gzip": gzipProgram,

		"cp": cpProgram, "mv": mvProgram, "rm": rmProgram, "mkdir": mkdirProgram, "rmdir": rmdirProgram,
		"ln": lnProgram, "touch": touchProgram, "mktemp": mktempProgram, "tar": tarProgram,

		"find": findProgram,
		"stat": statProgram, "ls": lsProgram, "readlink": readlinkProgram, "realpath": readlinkProgram,
		"chmod": chmodProgram, "chown": chownProgram,

		"uname": unameProgram, "hostname": hostnameProgram, "id": idProgram, "nproc": nprocProgram,
		"date": dateProgram, "timedatectl": timedatectlProgram, "sleep": sleepProgram, "sync": func(*proc) int { return 0 },
		"env": envProgram, "timeout": timeoutProgram, "setsid": setsidProgram, "nohup": setsidProgram,
		"dpkg": dpkgProgram, "dpkg-query": dpkgQueryProgram, "pveversion": pveversionProgram,

		"flock": flockProgram, "umount": umountProgram, "mountpoint": mountpointProgram,
	}
}
