package config_test

import (
	"fmt"
	"os"

	"github.com/walvfs/walvfs/vfs/config"
)

func ExampleLoad() {
	os.WriteFile("walvfs.yml", []byte(`
dbs:
  - path: /var/lib/my-app/data.db
    replicas:
      - url: s3://bucket/data
        region: eu-central-1
`), 0o600)
	defer os.Remove("walvfs.yml")

	c, err := config.Load("walvfs.yml")
	if err != nil {
		fmt.Println(err)
		return
	}
	db, ok := c.DB("/var/lib/my-app/data.db")
	fmt.Println(db.URL, db.Options.Region, ok)
	// Output: s3://bucket/data eu-central-1 true
}

func ExampleLoad_mistake() {
	os.WriteFile("mistake.yml", []byte("dbs:\n  - paht: /var/lib/my-app/data.db\n    replica: {url: s3://bucket/data}\n"), 0o600)
	defer os.Remove("mistake.yml")

	_, err := config.Load("mistake.yml")
	fmt.Println(err)
	// Output:
	// mistake.yml:2: a database: unknown key "paht": did you mean "path"?
	// mistake.yml:2: a database: its path is missing
}
