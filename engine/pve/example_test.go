package pve_test

import (
	"fmt"

	"github.com/tengil/tengil/engine/pve"
)

func ExampleParseConfig() {
	c, err := pve.ParseConfig([]byte("#database\nmemory: 2048\nmp0: /tank/db,mp=/data\n\n[pve:pending]\nmemory: 4096\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Get("memory"), c.Pending["memory"], c.Indexed("mp"))
	// Output: 2048 4096 [0]
}

func ExampleEncodeEntrypoint() {
	s, err := pve.EncodeEntrypoint([]string{"sh", "-c", "echo 'hello world'"})
	fmt.Println(s, err)
	// Output: sh -c "echo 'hello world'" <nil>
}

func ExampleSameNet() {
	want, _ := pve.ParseNet("name=eth0,bridge=vmbr0,ip=dhcp,host-managed=1")
	have, _ := pve.ParseNet("name=eth0,bridge=vmbr1,host-managed=1,hwaddr=BC:24:11:5A:C9:96,ip=dhcp,type=veth")
	for _, d := range pve.SameNet(want, have) {
		fmt.Printf("%s: wanted %s, got %s\n", d.Field, d.Want, d.Have)
	}
	// Output: bridge: wanted vmbr0, got vmbr1
}
