package engine_test

import (
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
)

func TestCommandsThatOnlyLook(t *testing.T) {
	for _, line := range []string{
		"cat /etc/exports", "/usr/bin/stat -c %a /etc", "test -e /srv", "systemctl is-active smbd", "systemctl show -p LoadState --value smbd.service",
		"exportfs -s", "exportfs -v", "crontab -l", "crontab -l -u www-data", "testparm -s --parameter-name=path /etc/samba/smb.conf", "grep -e -x /etc/hosts",
		"zfs get -H -p -o value used tank", "dpkg-query -W -f=${Status} samba", "pvesh get /version --output-format json", "tail -n5 /etc/passwd", "grep -- -x /etc/hosts",
	} {
		if err := engine.CheckLooks(strings.Fields(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestCommandsThatMayChangeSomething(t *testing.T) {
	for _, line := range []string{
		"", "rm -f /x", "sh -c true", "/tmp/cat /etc/hosts", "./cat x", "systemctl restart smbd", "systemctl", "systemctl -H pve2 show x", "systemctl show --root=/x",
		"exportfs -ra", "exportfs -o rw *:/x", "exportfs host:/x", "exportfs -- -ra", "crontab -r", "crontab /tmp/x", "crontab -l /tmp/x", "find / -delete", "sort -o /etc/passwd /x",
		"tail -f /var/log/syslog", "zfs set a=b tank", "zfs get -X tank", "pvesh set /x", "pct start 100", "cat /dev/watchdog", "cat ../dev/watchdog", "head -c1 /dev//watchdog",
		"dpkg -i x.deb", "dpkg-query --admindir=/x", "ip addr add 10.0.0.1/8", "ip link set vmbr0 down", "env rm x", "smbstatus --profile", "testparm --option=x",
	} {
		if err := engine.CheckLooks(strings.Fields(line)); err == nil {
			t.Errorf("%q passes for a command that changes nothing", line)
		}
	}
}
